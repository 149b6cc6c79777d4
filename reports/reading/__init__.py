"""Reading of records: points, strongest attacks, aggregation over seeds, paired comparisons. Writes no files.

What a run is made of:

- points: the points of the plan, and what each is compared with
- selection: records by point and family
- scores: the raw scores behind a record, with the sign of the calibration images
- aggregate: a metric over the seeds
- changes: what moved from no protection to each point of a defense, tested in pairs
- comparison: a metric of two records, in pairs where they share images or sample seeds
- metric_flags: the flags of a record that concern one metric
- pretrained: what cannot be said of a model that was handed in
- inapplicable: attacks that were not run, and why
- formatting: numbers and names as people read them

Membership:

- attack_results: one attack at one access level of a point, over the seeds
- attack_ranking: the order of the attacks at a point, and which are shown
- family: the corrected numbers of all attacks on a release
- strongest: the attack that stands at an access level of a point
- leakage: its AUC and headline TPR
- standing: what stands at each access level of a point, in rows for tables and verdicts
- superiority: tests that one side's strongest attack finds more than all of another's
- verdicts: what it shows, in plain words
- runner_up: the strongest attack against those next to it
- adaptive: defenses that their adaptive attack defeats
- access_gaps: answers against weights
- exposure: leakage by class, and the most exposed members

The trade-off:

- tradeoff: one row a point, quality against leakage
- tradeoff_axes: distances and copying, the axes of quality
- tradeoff_text: the rows as text
- extra_columns: quality metrics that have a column of their own
- distances: the Frechet distances and their floor
- replication: copying at a point
- costs: training seconds and network evaluations of a point

Other questions:

- auditing: stated epsilon and lower bounds that an attack shows
- fairness: the sensitive attribute in the samples
- forgetting: the forgotten label, damage to the rest, cost
- unlearning: attacks on images and labels to forget
- guarantees: guarantees that releases state, and those lost
"""
