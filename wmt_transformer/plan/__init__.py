"""The train step compiled for machines that are not there, and what it would need of them."""
