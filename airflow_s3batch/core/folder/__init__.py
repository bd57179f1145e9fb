"""The job's folder in S3, the truth about a job: its documents, and who may write which."""
