"""The translator as a service: requests of many users in batches, over the interfaces that clients speak."""
