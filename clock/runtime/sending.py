"""Jobs of the worker that speak to others: reminders, events, money, questions about unpaid orders, the log of
statements and its witnesses."""

import time
from typing import Any

from clock.payments import outgoing
from clock.rounds.ending import isolated
from clock.runtime.jobs import guarded, resilient
from clock.service import Service, live_rounds
from clock.tlog import sequencer

SEND_SECONDS = 15.0


@resilient
async def remind(context: dict[str, Any]) -> None:
    """Remind those who want it and still sleep."""
    service: Service = context["service"]
    if not service.settings.reminder_url:
        return
    until = time.monotonic() + SEND_SECONDS
    while time.monotonic() < until:
        await service.clocks.agreed_now_ms()  # a wrong clock would let them expire
        if not await service.reminders.send_some():
            break


@resilient
async def announce(context: dict[str, Any]) -> None:
    """Send hosts the events that are due."""
    service: Service = context["service"]
    if service.settings.events_url:
        await service.announcing.send_due(time.monotonic() + SEND_SECONDS)


@resilient
async def send(context: dict[str, Any]) -> None:
    """Send payouts and refunds that are owed, and ask about those whose outcome is not known."""
    service: Service = context["service"]
    until = time.monotonic() + SEND_SECONDS
    while time.monotonic() < until:
        await service.clocks.agreed_now_ms()
        if not await outgoing.send_some(service.store, service.channels):
            break


@resilient
async def ask(context: dict[str, Any]) -> None:
    """Ask the channel about unpaid orders whose callback may have been lost, until their round has ended: whoever paid
    for one that is closed or void is owed the money back."""
    service: Service = context["service"]
    if not any(channel.ready for channel in service.channels.values()):
        return
    for round_ in await live_rounds(service):
        if round_.finished_at is None:
            with isolated(round_.day):
                await service.questions.ask_some(round_.day, service.time.now_ms())


@resilient
async def sequence(context: dict[str, Any]) -> None:
    """Take statements into their log."""
    service: Service = context["service"]
    until = time.monotonic() + SEND_SECONDS
    while time.monotonic() < until and await sequencer.take_some(service.store, service.signing):
        pass


@resilient
async def witness(context: dict[str, Any]) -> None:
    """Begin to ask those witnesses that lack a checkpoint; none is waited for."""
    service, running = context["service"], context["lasting"]
    for key in await service.witnessing.due():
        name = f"witness {key}"
        if not running.runs(name):
            running.begin(name, guarded(context, name, service.witnessing.ask(key)))
