"""New data, opt-outs and annotators flow by themselves."""
