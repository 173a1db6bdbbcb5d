"""The command line: `podnuma`, also `kubectl podnuma`.

    main        puts the commands together and ends the process
    exits       what the exit codes mean
    commands    one module per command
    ui          the web page of `podnuma ui`
    objects     reads objects from a cluster or from files
    render      turns values into text and pictures

`commands` and `ui` import `objects` and `render`, which do not know each other. Nothing is decided here:
decisions are the allocator's, field names are the API's, and the operator and the agent are started by
their own `app.main`. No other part imports this one.
"""
