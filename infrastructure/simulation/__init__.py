"""A day of work, simulated with the real `decide`: what would this policy have cost, and who would have waited?"""
