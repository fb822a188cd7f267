"""A course with the book: exercises without their solutions, and the grading of what comes back.

The exercises are notebooks in the dialect of nbgrader. What is here does its work for a folder of notebooks;
where a course runs nbgrader, the same files go in there.
"""
