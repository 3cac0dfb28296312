"""The paper's comparisons and ablations on one seed of the main pipeline, and over seeds.

| module | holds |
|---|---|
| parts | the names and inputs of the parts, and a module each, which is one DVC stage |
| inputs | what the main pipeline wrote, read once |
| lab | trains and measures one arm after another; what is measured survives a kill |
| synthetic | synthetic pairs: selected, judged, contrasted |
| verdicts | the AI judge's verdicts, and how often it agrees with itself and with gold |
| pools | which pools are sampled, contrast prompts included |
| run | the experiments of all seeds |
| records | study.json: every seed's records |
| catalogue, part_tables | metrics, arms and tables, with the titles that pages show |
| means | means over seeds and differences paired by seed, with intervals |
| pages | docs/results.md, README's block of results, the HTML page of figures |
"""
