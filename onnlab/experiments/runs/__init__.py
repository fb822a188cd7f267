"""One run: its images, the training of its network, its scores, and the line that it becomes."""
