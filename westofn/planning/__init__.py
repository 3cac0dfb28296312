"""What a run of params.yaml takes: time, memory and disk, stage by stage, from two small runs.

| module | holds |
|---|---|
| work | the work of each stage as a number of responses, from parameters and counts of rows |
| probe | runs every stage on a few prompts and with a few steps, in a folder of its own |
| estimate | the line through two probes of a stage, extended to the whole run |
| show | the estimate as a table |
"""
