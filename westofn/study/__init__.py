"""The paper's comparisons and ablations on one seed of the main pipeline, and their aggregation.

| module | holds |
|---|---|
| inputs | what the main pipeline left, read once |
| lab | trains and measures one arm after another; what is measured survives a kill |
| synthetic | synthetic pairs: selected, judged, contrasted |
| parts | one module a group of arms; each is one DVC stage of study/dvc.yaml |
| aggregate | the seeds' records to study.json: means, intervals, paired differences |
"""
