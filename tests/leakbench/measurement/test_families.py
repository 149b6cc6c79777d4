"""Every table of families has the same rows, and a row says the same in each."""

from __future__ import annotations

import typing

import pytest

from leakbench.api import Access, Attack, MembershipAttack
from leakbench.api.families import CONTRACTS, family_of
from leakbench.measurement.families import MEASUREMENTS
from leakbench.results.families import FAMILIES, FamilyName
from leakbench.results.record import Record
from leakbench.runner.estimate.family_calls import CALLS
from leakbench.runtime import registry
from leakbench.testing.conformance import CHECKS


@pytest.mark.parametrize(
    "table", [CONTRACTS, MEASUREMENTS, CHECKS, CALLS], ids=["contracts", "measurements", "checks", "calls"]
)
def test_no_table_lacks_a_row(table):
    assert list(table) == list(FAMILIES) == list(typing.get_args(FamilyName))


def test_a_record_is_of_a_family_or_of_quality():
    allowed = Record.model_json_schema()["properties"]["family"]["anyOf"]
    assert {name for part in allowed for name in part.get("enum", [part.get("const")])} == {*FAMILIES, "quality"}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_columns_of_a_row_fit_together(name):
    assert CONTRACTS[name].family == name
    measurement = MEASUREMENTS[name]
    assert (measurement.measure is None) != (measurement.measure_together is None)
    assert typing.get_type_hints(measurement.evaluate)["evidence"] is FAMILIES[name].evidence


def test_every_attack_is_of_a_family():
    kinds = dict(registry.load_all("attacks"))
    assert kinds and {kind.family for kind in kinds.values()} == set(FAMILIES)
    assert all(family_of(kind) == kind.family for kind in kinds.values())


def test_a_class_is_of_a_family_only_if_it_derives_from_its_contract_and_says_its_name():
    class Stray(Attack):
        family = "membership"
        access = Access.NONE

    class Renamed(MembershipAttack):
        family = "replication"

    assert family_of(MembershipAttack) == "membership"
    assert [family_of(kind) for kind in (Stray, Renamed, Attack, int)] == [None] * 4


def test_what_asks_the_denoiser_is_written_of_the_raw_network_too_except_replication():
    class Asks(MembershipAttack):
        access = Access.DENOISER

    levels = {name: MEASUREMENTS[name].levels(Asks()) for name in FAMILIES}
    assert levels.pop("replication") == [Access.DENOISER]
    assert all(found == [Access.DENOISER, Access.WEIGHTS] for found in levels.values())
