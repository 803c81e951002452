"""What a face swap is: media, vision, trust and the stages of a job, as a plain library.

Nothing here knows Prefect, a cloud or a network client, so the engine can be read, tested and reused alone.
"""

__version__ = "0.1.0"
