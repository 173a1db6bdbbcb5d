"""The commands: one module each, with its options, what it does and the text it prints.

A module that is named like a command is that command. The others help several commands, or one:

    answer, output             what a command answers, and how it is printed
    options, completion        options that commands share; completion of names
    extras                     says which extra of the package is missing
    asked_nodes                the nodes that `plan` and `explain` ask
    check_installed            the questions of `check` about podnuma that is there
    check_result               the answer to one of its questions
    explain_waiting            `explain` of a pod that is on no node
    explain_workload           `explain` of a workload
    pod_plans                  what `plan` finds out; plan_report: how it says so
    plan_quotas                what ResourceQuotas leave for the pods of a plan
    plan_resize                `plan resize`
    release_leftovers          what `release-nodes` does to objects that stay
    writing_client             the client of `release-gates` and `release-nodes`

    the commands: agent, check, discover, explain, locality, map, nodes, operator, plan, profile,
    release_gates, release_nodes, replay, savings, top, ui

A command reads through `objects`, draws through `render`, and leaves through `output`. Its module is
imported when the command is called (see `main`), so it may import whatever it needs at the top; only
aiohttp takes long enough to wait until a cluster is really asked.
"""
