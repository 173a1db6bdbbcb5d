"""Why a pod was placed where it was, and what would make a refused one fit.

    explanation  everything about one decision
    free         what each NUMA node has free
    remarks      what is easily overlooked, in sentences
    suggestions  the smallest change that makes a refused pod fit
    brief        the cause of a refusal in one line

Everything here asks the allocator again, piece by piece, and changes nothing; deciding never
imports it.
"""
