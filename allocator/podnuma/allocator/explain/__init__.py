"""Why a pod was placed where it was, and what would make a refused one fit.

Everything here asks the allocator again, piece by piece, and changes nothing; deciding never
imports it.
"""
