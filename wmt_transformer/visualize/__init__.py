"""Pictures and pages of what a model sees and does."""
