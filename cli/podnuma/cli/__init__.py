"""The command line: `podnuma`, also `kubectl podnuma`.

Who may live here: verbs, the reading of objects from a cluster or from files, and
everything that draws. Nothing is decided here: decisions are the allocator's, shapes
are the API's, processes are started by their own `app.main`. Nobody imports this part.

`main` knows the verbs, `exits` what their exit codes mean. A verb's own module is
imported when it is called, so that `podnuma agent` stays as small as an agent can be.
"""
