"""Stores behind the `faceflow.store.Store` protocol, and which of them an address means.

addresses     what an address means: which configured store, which bucket, which key
resolve       from the location of an output to a store and a key
inputs        inputs that lie in stores, brought into scratch for as long as somebody needs them
object_store  the one store over all services: zone, checksums, reading, links
service       what differs from service to service, as a protocol
s3_service, azure_service, gcs_service
pieces        a local file cut into pieces that are hashed once and sent side by side
uploads       uploads that were begun, so that another process can continue them
store_errors  what the services say, in faceflow's words
"""
