module podnuma.dev/testbed/probe

go 1.26
