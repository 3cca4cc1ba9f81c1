"""Stopping rules: whether an evaluation's learning curve is worth finishing. One rule a file.

A rule has two sides. Beside the search it learns from told trials and writes what a worker needs as JSON, fixed when a
trial is asked; in the worker a pure function of that JSON and the curve so far says when to stop. So stopping depends
on the configuration and the seed alone, not on timing, and `stopping:` works with any searcher and any target that
reports its primary objective.
"""
