"""The paper's comparisons and ablations on one seed of the main pipeline, and their aggregation.

| module | holds |
|---|---|
| inputs | what the main pipeline left, read once |
| lab | trains and measures one arm after another; what is measured survives a kill |
| synthetic | synthetic pairs: selected, judged, contrasted |
| verdicts | the AI judge's verdicts, and what they say of it |
| pools | which pools are sampled, contrast prompts included |
| parts | one module a group of arms; each is one DVC stage of study/dvc.yaml |
| results | one seed's records for study.json, which `westofn.report.study_results` reads |
| run | every seed's experiments |
| claims, pages, readme | the paper's findings; docs/results.md; README's block of results |
"""
