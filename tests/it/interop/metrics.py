"""Reads OpenMetrics text as Prometheus does, strictly: each sample goes out as a line of JSON."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as families

for family in families(sys.stdin.buffer.read().decode()):
    for sample in family.samples:
        print(json.dumps([family.type, family.unit, sample.name, sample.labels, sample.value]))
