"""What a person may do with a job: confirm it, look at it, pause, resume and cancel it, change limits and turn."""
