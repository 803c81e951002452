"""Stores behind the `faceflow.store.Store` protocol, and which of them a location means."""
