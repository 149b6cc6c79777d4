"""Lines about what calls of an endpoint will cost, for plans."""

from __future__ import annotations

from leakbench.models.hosted.endpoint import Endpoint
from leakbench.models.hosted.service import Service


def describe_calls(endpoint: Endpoint, calls: int) -> tuple[str, ...]:
    """A line on the price and the least time of at most so many calls, and one where the budget allows fewer."""
    service = Service(endpoint)
    spent, price = service.spent, endpoint.price
    words = f"{endpoint.name}: at most {calls:,} calls"
    words += f", price {calls * price:,.2f} at {price:g} a call" if price else ""
    if endpoint.calls_per_minute and calls > endpoint.calls_per_minute:
        words += f", no sooner than in {calls / endpoint.calls_per_minute:,.0f} minutes"
    words += f"; {len(service.answers):,} answers are kept, and {spent.calls:,} calls were made"
    words += f" for {spent.money:,.2f}" if price else ""
    return (words, *_describe_budget(endpoint, spent.calls, spent.money, calls))


def _describe_budget(endpoint: Endpoint, made: int, money: float, calls: int) -> tuple[str, ...]:
    allowed = []
    if endpoint.most_calls is not None:
        allowed.append(max(endpoint.most_calls - made, 0))
    if endpoint.most_money is not None:
        allowed.append(max(int((endpoint.most_money - money) / endpoint.price + 1e-9), 0))
    if not allowed or min(allowed) >= calls:
        return ()
    return (
        f"{endpoint.name}: its budget allows {min(allowed):,} more calls: it may stop before all is measured, and "
        "goes on from there when it is raised",
    )
