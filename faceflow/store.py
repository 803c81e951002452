"""Where bytes are kept: the protocol of a store, its zone label, and the plain folder.

Other stores (S3 and compatible, Azure Blob, GCS) are added in `infrastructure/storage`; whoever holds a `Store` need
not know which. A store refuses media that its zone may not hold: the last of the three checks that keep private faces in.
"""
