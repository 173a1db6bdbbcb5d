"""Drawing and wording: values in, text or rich renderables out. Pure: no cluster, no file, no output.

node_map         the model of a map: who holds which part of a node
terminal_map     the map as text
svg_map          the map as a picture
palette          letters and colours of both
pod_explanation  what `explain` found out about a pod
explain_report   that as text
explain_data     that as JSON
replay_results   the result lines of `replay`
wording          what several commands say in the same words
left_out         which nodes are not considered, in words
"""
