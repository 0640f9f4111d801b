"""Model inputs, computed from flow records by one piece of code for training and serving."""
