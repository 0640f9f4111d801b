"""Model inputs from flow records: one piece of code, for training and for serving."""
