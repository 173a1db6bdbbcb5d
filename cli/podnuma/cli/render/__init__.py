"""Drawing and wording: values in, text or rich renderables out. Pure: no cluster, no file, no output."""
