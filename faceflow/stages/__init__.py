"""The seven stages of a job as plain functions: validate, transcode, segment, swap, restore, merge, upload.

Each takes and gives small frozen models (`stages.model`) and files, so that it can run in another process, be
cached by its inputs and be resumed. `tasks/` wraps each in one Prefect task.
"""
