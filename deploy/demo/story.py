"""The story: seven chapters on one running installation, every line of it checked as it is told."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Self

from authplugin.client import ClientCredentials
from deploy.demo import checks, installation
from deploy.demo.casebook import Entry
from deploy.demo.claims import CASES, DEVICES, hostile
from deploy.demo.console import Console, Ink, Mark
from deploy.demo.fleet import Device, Fleet
from deploy.demo.hostile import Answer, Hostile
from deploy.demo.installation import AUDIENCE, Installation
from deploy.demo.ledger import Ledger
from deploy.demo.machine import Fault
from deploy.demo.metrics import scrape
from deploy.demo.page.board import Board
from deploy.demo.page.server import serve
from deploy.demo.processes import Supervisor
from deploy.demo.status import MEANINGS, keep_fresh, limits, refusals
from deploy.demo.topics import following
from deploy.demo.witness import CASES as CASES_TOPIC
from deploy.demo.witness import TOPICS, Witness
from processor.rules.load import load_rules

#: Longest time for the whole story; each wait in it has its own, shorter.
STORY_SECONDS = 170.0
#: A step that everything is ready for.
_STEP_SECONDS = 20.0
#: From the first sample to the last of the four cases.
_CASES_SECONDS = 45.0
#: How long a fifth case is waited for, longer than any rule's own hold.
_GRACE_SECONDS = 6.0
_ATTACK_EVERY_SECONDS = 10.0
_POLL_SECONDS = 0.05


class Story:
    """Tells the story and keeps what it started until its context ends.

    Args:
        console: where it is told.
        ledger: the claims.
        place: directory, ports and secrets.
        supervisor: runs the programs.
        report: called with everything's addresses once all of it is started.
    """

    def __init__(
        self,
        console: Console,
        ledger: Ledger,
        place: Installation,
        supervisor: Supervisor,
        report: Callable[[dict[str, object]], None],
    ) -> None:
        self._console = console
        self._ledger = ledger
        self._place = place
        self._supervisor = supervisor
        self._report = report
        self._rules = load_rules(place.rules)
        self._names: dict[str, str] = {}
        self._board = Board(
            names=self._names,
            limits=limits(self._rules),
            meanings=MEANINGS,
            now=lambda: round(time.time() * 1000),
        )
        self._arrived: asyncio.Queue[Entry] = asyncio.Queue()
        self._detectors = {rule.id: rule.detector.name for rule in self._rules.rules}
        self._witness = Witness(
            self._board,
            devices=self._names,
            detectors=self._detectors,
            now=time.time,
            on_case=self._arrived.put_nowait,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()
        self._fleet: Fleet
        self._client: ClientCredentials
        self._issuer = self._kafka = self._page = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    async def tell(self) -> None:
        """All seven chapters.

        Raises:
            ProcessError: a program did not come up, or ended.
            ExceptionGroup: what runs beside the story failed.
        """
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._tell(), name="story")
            watching = group.create_task(self._watch_tasks(), name="tasks of the story")
            await telling
            watching.cancel()

    async def _watch_tasks(self) -> None:
        """Raise the error of whatever runs beside the story, when it has one."""
        while True:
            for task in self._tasks:
                if task.done() and not task.cancelled():
                    task.result()
            await asyncio.sleep(_POLL_SECONDS)

    async def _tell(self) -> None:
        began = time.monotonic()
        self._console.title(
            "assetgate", "the whole product on this machine, told live; every line is checked"
        )
        await self._start_issuer()
        starting = self._keep(self._start_rest())
        await self._tell_issuer()
        await self._tell_registration()
        self._console.progress("Mosquitto, bridge and worker are starting")
        await starting
        await self._tell_connections()
        await self._tell_hostile()
        await self._tell_bridge()
        await self._tell_cases()
        await self._tell_addresses()
        self._console.plain(f"\n   Told in {time.monotonic() - began:.0f} s.", Ink.DIM)

    async def stay(self) -> None:
        """Go on for ever, telling each case as it arrives."""
        self._keep(self._watch_tasks())
        self._keep(self._go_on())
        while True:
            self._tell_case(await self._arrived.get())

    async def _start_issuer(self) -> None:
        self._console.progress("Kafka and the issuer are starting")
        kafka = await self._supervisor.start(installation.kafka())
        self._kafka = json.loads(await kafka.ready())["bootstrap"]
        settings = self._place.write_watch(self._kafka)
        await self._supervisor.run(installation.topics(settings))
        self._client = self._place.client()
        issuer = await self._supervisor.start(self._place.issuer(self._kafka))
        self._issuer = json.loads(await issuer.ready())["issuer"]

    async def _start_rest(self) -> None:
        start, run = self._supervisor.start, self._supervisor.run
        place, watch = self._place, self._place.root / "watch.toml"
        worker = await start(installation.worker(watch))
        gate = place.write_gate(self._issuer)
        await run(installation.hashed(place.root / "passwords"))
        stanza = await run(installation.plugin(place.root / "authplugin.so", gate))
        broker = await start(installation.mosquitto(place.write_broker(stanza)))
        await broker.ready()
        bridge = await start(installation.bridge(watch))
        await bridge.ready()
        await worker.ready()
        reading = await self._stack.enter_async_context(following(self._kafka, TOPICS, self._witness.handle))
        self._tasks.append(reading)
        self._keep(keep_fresh(self._board, place.metrics()["gate"]))
        self._page = await self._stack.enter_async_context(serve(self._board))
        self._report(self.addresses())

    def addresses(self) -> dict[str, object]:
        """Where everything is."""
        return {
            "page": self._page,
            "kafka": self._kafka,
            "mqtt": f"127.0.0.1:{self._place.mqtt_port}",
            "issuer": self._issuer,
            "metrics": self._place.metrics(),
        }

    async def _tell_issuer(self) -> None:
        self._console.chapter(1, "The issuer")
        self._ledger.judge("issuer.keys", *await checks.published_key(self._issuer))
        self._ledger.judge("issuer.refuses", *await checks.refuses_strangers(self._issuer))

    async def _tell_registration(self) -> None:
        self._console.chapter(2, f"{DEVICES} devices register")
        self._fleet = Fleet(
            issuer=self._issuer,
            client=self._client,
            broker=("127.0.0.1", self._place.mqtt_port),
            faults=tuple(CASES),
            size=DEVICES,
        )
        began = time.monotonic()
        devices = await self._fleet.register(
            lambda done: self._console.progress(f"{done} of {DEVICES} devices are registered")
        )
        self._names |= {device.asset_id: device.name for device in devices}
        took = time.monotonic() - began
        distinct = len({device.asset_id for device in devices})
        self._ledger.judge(
            "devices.registered",
            distinct == DEVICES,
            f"{distinct} assets in {took:.1f} s, keys of 2048 bits made here",
        )
        self._ledger.judge("devices.tokens", *checks.tokens(devices, self._issuer, AUDIENCE))

    async def _tell_connections(self) -> None:
        fleet = self._fleet
        await self._until(lambda: len(self._witness.tokens) >= DEVICES, "asset-token events")
        self._ledger.judge("devices.events", *checks.token_events(fleet.devices, self._witness))
        self._console.chapter(3, "They connect through the gate in Mosquitto")
        self._console.line(Mark.TOLD, f"Watch it live: {self._page}")
        self._keep(fleet.stream())
        await self._until(lambda: len(fleet.connected) == DEVICES, "connections")
        gate = await scrape(self._place.metrics()["gate"])
        allowed, sessions = (
            gate.total("authplugin_decisions_total", outcome="allowed"),
            gate.total("authplugin_sessions"),
        )
        self._ledger.judge(
            "gate.connected",
            len(fleet.connected) == DEVICES and allowed >= DEVICES and sessions == DEVICES,
            f"the gate counts {allowed:.0f} allowed, {sessions:.0f} live sessions",
        )
        await self._until(lambda: len(fleet.last_sample) == DEVICES, "first samples")
        self._ledger.judge(
            "gate.streaming",
            len(fleet.last_sample) == DEVICES,
            f"{len(fleet.last_sample)} devices, a message a second each",
        )

    async def _tell_hostile(self) -> None:
        self._console.chapter(4, "Hostile ones try too")
        url = self._place.metrics()["gate"]
        rows: list[tuple[Answer, str]] = []
        before = refusals(await scrape(url))
        self._console.progress("they try")
        async for answer in self._attack():
            after = refusals(await scrape(url))
            rows.append((answer, ", ".join(sorted((after - before).elements())) or "none"))
            before = after
            self._console.progress(answer.attempt.name)
        verdicts = [answer.refused and reason == answer.attempt.expected for answer, reason in rows]
        self._console.table(
            ("attempt", "broker's answer", "reason by the gate", "verdict"),
            [
                (
                    answer.attempt.name,
                    f"{answer.packet} {answer.text}",
                    reason,
                    "refused" if verdict else f"WRONG: {answer.attempt.expected} was due",
                )
                for (answer, reason), verdict in zip(rows, verdicts, strict=True)
            ],
            inks=[Ink.PLAIN if verdict else Ink.RED for verdict in verdicts],
        )
        for (answer, reason), verdict in zip(rows, verdicts, strict=True):
            self._ledger.note(
                hostile(answer.attempt.name).name, verdict, f"{answer.packet} {answer.text}, {reason}"
            )
        connected = len(self._fleet.connected)
        strange = checks.strange_messages(self._witness, self._fleet.devices)
        self._ledger.judge(
            "hostile.harmless", connected == DEVICES and not strange, strange or f"{connected} are connected"
        )

    async def _tell_bridge(self) -> None:
        self._console.chapter(5, "The bridge carries telemetry to Kafka")
        witness, taken = self._witness, dict(self._fleet.last_sample)
        await self._until(
            lambda: all(witness.newest.get(asset, 0) >= at for asset, at in taken.items()), "samples on Kafka"
        )
        self._ledger.judge("bridge.keyed", *checks.keyed(witness, self._fleet.devices))
        self._ledger.judge("bridge.complete", *checks.complete(witness, taken))

    async def _tell_cases(self) -> None:
        self._console.chapter(6, "The worker judges it, and cases arrive")
        self._keep(checks.send_garbage(self._fleet, self._healthy()[-1]))
        due = {self._fleet.device(fault).asset_id: fault for fault in CASES}
        end = time.monotonic() + _CASES_SECONDS
        waiting = set(CASES)
        while waiting and time.monotonic() < end:
            names = ", ".join(sorted(fault.value.replace("_", " ") for fault in waiting))
            self._console.progress(f"waiting for {names} ({end - time.monotonic():.0f} s)")
            try:
                async with asyncio.timeout(1.0):
                    entry = await self._arrived.get()
            except TimeoutError:
                continue
            fault = due.get(entry.asset)
            expected = CASES[fault] if fault is not None else None
            if (
                expected is None
                or fault not in waiting
                or self._detectors.get(entry.opened.data.rule.id) != expected.detector
            ):
                self._tell_case(entry)
                continue
            waiting.discard(fault)
            self._ledger.judge(expected.claim.name, entry.kind == expected.kind, "\n".join(self._told(entry)))
        for fault in sorted(waiting):
            self._ledger.judge(CASES[fault].claim.name, False, f"none within {_CASES_SECONDS:.0f} s")
        self._console.progress(f"waiting {_GRACE_SECONDS:.0f} s for a fifth that must not come")
        await asyncio.sleep(_GRACE_SECONDS)
        book = self._witness.book
        wrong = book.against({asset: self._rule(CASES[fault].detector) for asset, fault in due.items()})
        self._ledger.judge("cases.exact", not wrong, "; ".join(wrong[:3]) or f"{len(book.cases)} cases")
        self._ledger.judge("cases.contract", not book.faults, "; ".join(book.faults[:3]))
        await self._until(lambda: len(self._witness.dead) >= 2, "dead letters")  # noqa: PLR2004 - the two sent
        self._ledger.judge("worker.dead", *checks.dead(self._witness))
        self._ledger.judge("worker.balanced", *await checks.balanced(self._place.metrics()["worker"]))

    async def _tell_addresses(self) -> None:
        self._console.chapter(7, "Look for yourself")
        urls = {"status page": self._page} | {
            f"metrics of the {name}": url for name, url in self._place.metrics().items()
        }
        self._ledger.judge("addresses.answer", *await checks.answer(urls))
        for name, url in urls.items():
            self._console.plain(f"     {name:<22}  {url}")
        self._console.plain(f"     {'issuer':<22}  {self._issuer}/id/keys")
        self._console.plain(f"     {'Kafka':<22}  {self._kafka}  (embedded: in memory, one broker)")
        for topic in TOPICS:
            self._console.plain(f"     {'':<22}  {topic}")
        self._console.plain("     read the cases:")
        self._console.plain(
            f"       .venv/bin/python -m deploy.demo.topics {self._kafka} {CASES_TOPIC}", Ink.CYAN
        )

    def _attack(self) -> AsyncIterator[Answer]:
        """Every hostile attempt once, by one healthy device after another's asset."""
        broker = ("127.0.0.1", self._place.mqtt_port)
        attacks = Hostile(issuer=self._issuer, client=self._client, broker=broker, audience=AUDIENCE)
        attacker, victim = self._healthy()[:2]
        return attacks.attempt(attacker, victim)

    async def _go_on(self) -> None:
        """The hostile ones never rest, so that page and dashboards have something to show."""
        while True:
            await asyncio.sleep(_ATTACK_EVERY_SECONDS)
            async for _ in self._attack():
                pass

    def _tell_case(self, entry: Entry) -> None:
        self._console.line(Mark.TOLD, *self._told(entry))

    def _told(self, entry: Entry) -> tuple[str, str]:
        """A case in two lines: whose and what, how long after the publish; what was seen, by which rule."""
        data, name = entry.opened.data, self._names.get(entry.asset, entry.asset)
        seen, expected = self._witness.seen(entry)
        after = "its last sample" if self._detectors.get(data.rule.id) == "silence" else "the publish"
        evidence = f"{len(data.evidence)} {'sample' if len(data.evidence) == 1 else 'samples'}"
        found = f"seen {seen}, expected {expected}; {data.detail}"
        why = f"rule {data.rule.id} version {data.rule.version}, evidence: {evidence}"
        return f"{name}: {data.title}, {self._witness.took(entry):.2f} s after {after}", f"{found}\n{why}"

    def _rule(self, detector: str) -> str:
        return next((rule.id for rule in self._rules.rules if rule.detector.name == detector), detector)

    def _healthy(self) -> list[Device]:
        return [device for device in self._fleet.devices if device.fault is Fault.NONE]

    def _keep(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run work beside the story; should it fail, the story does."""
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the condition holds; give up quietly at the deadline, the claim says what is missing."""
        self._console.progress(f"waiting for {what}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STEP_SECONDS):
                while not condition():  # noqa: ASYNC110 - what is waited for happens on Kafka, not in this loop
                    await asyncio.sleep(_POLL_SECONDS)
