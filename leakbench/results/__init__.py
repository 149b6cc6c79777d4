"""All that crosses from the harness to reports, typed: records, evidence, run plan, metric specs, flags."""
