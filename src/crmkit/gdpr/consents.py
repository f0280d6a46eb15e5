"""`crm.gdpr.consents`: what customers said about being contacted; facts, never edited."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Unpack

import attrs

from crmkit.customers.profile import ConsentState
from crmkit.errors import InvalidInput
from crmkit.gdpr import auditing, links, notices, objections, parting
from crmkit.gdpr.addresses import address_of, checked_channel, purpose_key
from crmkit.gdpr.consent_state import after_all, lasting, said_by, state
from crmkit.gdpr.contacting import pages, permissions
from crmkit.gdpr.permission import Permission, Question, stands_against
from crmkit.gdpr.preferences import Preferences, page
from crmkit.gdpr.statements import Details, Statement, check_past, checked_purpose, statement
from crmkit.model import Consent, Notice, Objection
from crmkit.model.time import instant
from crmkit.ports.events import (
    ConsentChanged,
    ConsentStated,
    CustomerErased,
    CustomersMerged,
    MergeUndone,
)
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime, Whose, checked_id
from crmkit.ports.storage import UnitOfWork

_A_WEEK = timedelta(days=7)


class Consents:
    """Consents of one tenant's customers.

    A consent is for a purpose on a channel, and for one address or (without) for all that the
    profile has. `details` of a call are those of `Details`: the id of the `notice` that was
    shown, the version of the `policy`, `language`, `jurisdiction`, `proof`, `expires_at`.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    # --- what people say ---

    def give(
        self,
        customer_id: str,
        channel: str,
        *,
        source: str,
        purpose: str = "marketing",
        address: str | None = None,
        fresh: bool = False,
        at: datetime | str | None = None,
        key: str | None = None,
        **details: Unpack[Details],
    ) -> Consent:
        """Record that the customer agreed; `source` says where, such as ``"booking form"``.

        `fresh` says that they themselves asked for it anew, knowing that they had objected: then
        objections and suppressions until `at` end. Raises `InvalidInput`.
        """
        said = statement(
            self._rt, channel, purpose, event="given", granted=True, source=source, at=at,
            address=address, details=details,
        )  # fmt: skip
        return self._say(customer_id, said, at, key, fresh=fresh)

    def withdraw(
        self,
        customer_id: str,
        channel: str,
        *,
        purpose: str = "marketing",
        source: str = "unknown",
        address: str | None = None,
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Consent:
        """Record that the customer no longer agrees; as easy as giving (GDPR Art. 7(3)).

        Without an address it goes for all of them.
        """
        said = statement(
            self._rt, channel, purpose, event="withdrawn", granted=False, source=source, at=at,
            address=address,
        )  # fmt: skip
        return self._say(customer_id, said, at, key)

    def rely_on(
        self,
        customer_id: str,
        channel: str,
        *,
        basis: str,
        source: str,
        purpose: str = "marketing",
        address: str | None = None,
        at: datetime | str | None = None,
        key: str | None = None,
        **details: Unpack[Details],
    ) -> Consent:
        """Record that you contact the customer on a lawful basis other than consent.

        ``contract``, ``legitimate_interest``, ``legal_obligation`` (GDPR Art. 6(1)) or
        ``soft_opt_in`` (ePrivacy Directive Art. 13(2)). It is no consent: rules and
        reports do not count it, and it yields to each withdrawal and objection.
        """
        if basis == "consent":
            raise InvalidInput("a consent is given, not claimed", field="basis")
        said = statement(
            self._rt, channel, purpose, event="claimed", granted=None, source=source, at=at,
            address=address, basis=basis, details=details,
        )  # fmt: skip
        return self._say(customer_id, said, at, key)

    def request(
        self,
        customer_id: str,
        channel: str,
        *,
        source: str,
        address: str | None = None,
        purpose: str = "marketing",
        within: timedelta = _A_WEEK,
        **details: Unpack[Details],
    ) -> str:
        """Ask for a double opt-in: the token of the link to send; it permits nothing yet.

        `confirm` takes it `within` a time. It holds the fact's id and a keyed hash.
        """
        if not isinstance(within, timedelta) or not timedelta(0) < within <= timedelta(days=365):
            raise InvalidInput("expected some time, of a year at most", field="within")
        now = self._rt.now()
        asked: Any = {**details, "expires_at": now + within}
        said = statement(
            self._rt, channel, purpose, event="requested", granted=None, source=source, at=now,
            address=address, details=asked,
        )  # fmt: skip
        return links.confirmation(self._rt, self._say(customer_id, said, None, None))

    def confirm(
        self, token: str, *, expires_at: datetime | str | None = None, proof: str | None = None
    ) -> Consent:
        """Record that the person followed the link of `request`; once, however often they do.

        It is their own fresh word: what they had objected to before ends. Call it for a POST:
        mail scanners follow links. Raises `InvalidInput` for a token that is none, that has
        run out, or after which the person withdrew or objected, or an address was suppressed.
        """
        ends = None if expires_at is None else instant(expires_at, field="expires_at")

        def work(uow: UnitOfWork) -> Consent:
            fact, made = links.confirmed(uow, self._rt, token, ends, proof)
            if made:
                self._rt.events.publish(uow, ConsentChanged(fact.customer_id, fact.occurred_at))
            return fact

        return self._rt.write(work)

    # --- what stands ---

    def state(
        self,
        customer_id: str,
        *,
        at: datetime | str | None = None,
        known_at: datetime | str | None = None,
    ) -> ConsentState:
        """What stands, or stood at an instant; nothing is consented by default.

        True where consent holds for any address. `known_at` leaves out what was recorded later.
        """
        moment = None if at is None else instant(at)
        recorded = None if known_at is None else instant(known_at, field="known_at")
        facts = said_by(self.history(customer_id), moment, recorded)
        return state(facts, moment or self._rt.now())

    def history(self, customer_id: str) -> tuple[Consent, ...]:
        """All that was said, in order."""
        with self._rt.read() as uow:
            found = uow.find(
                Consent,
                customer_id=self._rt.customer(uow, customer_id).id,
                order=("occurred_at", "id"),
            )
        return tuple(found)

    def may_contact(
        self,
        customer_id: str,
        channel: str,
        purpose: str = "marketing",
        *,
        address: str | None = None,
        at: datetime | str | None = None,
        hold: bool = False,
    ) -> Permission:
        """Whether you may contact the customer, with the reason; true if you may.

        About the main address of the profile unless another is named: send to the permission's
        `address`, and to no other. Ask in the transaction that records the sending; with `hold`
        a withdrawal waits until that ends. False for who is unknown or erased.
        """
        asked = self._question(channel, purpose, address, at)
        checked_id(customer_id)

        def work(uow: UnitOfWork) -> Permission:
            if hold:
                links.held(uow, self._rt, customer_id)
            return permissions(uow, self._rt, [customer_id], asked)[0]

        if hold:
            return self._rt.write(work)
        with self._rt.read() as uow:
            return work(uow)

    def may_contact_many(
        self,
        customer_ids: Iterable[str],
        channel: str,
        purpose: str = "marketing",
        *,
        at: datetime | str | None = None,
    ) -> Iterator[Permission]:
        """`may_contact` about many, in their order; a few queries for each 200.

        For drawing up a list. Ask again when you send: the answer is of when it was read.
        """
        return self._answers(customer_ids, self._question(channel, purpose, None, at))

    # --- texts and proofs ---

    def notice(
        self,
        purpose: str,
        channel: str,
        *,
        language: str,
        version: str,
        text: str,
        controller: str | None = None,
        recipients: Sequence[str] = (),
        withdrawal: str | None = None,
    ) -> Notice:
        """Keep a text that people are shown, word for word; its `id` goes with each consent.

        Registering it again is no matter. Raises `InvalidInput` for a version that is another
        text already.
        """
        made = notices.notice(
            self._rt, purpose, channel, language=language, version=version, wording=text,
            controller=controller, recipients=recipients, withdrawal=withdrawal,
        )  # fmt: skip
        return self._rt.write(lambda uow: notices.kept(uow, made))

    def receipt(self, consent_id: str) -> notices.Receipt:
        """A fact with the text that was shown: what proves it. Raises `NotFound`."""
        with self._rt.read() as uow:
            fact = uow.get(Consent, checked_id(consent_id))
            if fact is None:
                raise self._rt.missing(uow, consent_id, "consent")
            shown = uow.get(Notice, fact.notice_id) if fact.notice_id else None
        return notices.Receipt(fact, shown)

    # --- pages and links for the person ---

    def preferences(self, customer_id: str, *, language: str | None = None) -> Preferences:
        """What a page shows on which a person sets what they agree to.

        Each purpose and channel that was spoken of or has a notice, with the newest notice in
        that language (else the customer's, else any).
        """
        with self._rt.read() as uow:
            customer = self._rt.customer(uow, customer_id)
            facts = uow.find(Consent, customer_id=customer.id)
            against = uow.find(Objection, customer_id=customer.id, ended_at=None)
            texts = uow.find(Notice)
        return page(self._rt, customer, facts, against, texts, language or customer.language)

    def unsubscribe_token(
        self,
        customer_id: str,
        channel: str,
        purpose: str = "marketing",
        *,
        address: str | None = None,
    ) -> str:
        """The token of a link by which the person withdraws: for one address, or for all.

        It does not run out, and goes on after a merge. It holds ids and keyed hashes alone.
        """
        checked_channel(channel)
        key = None if address is None else address_of(self._rt, channel, address).key
        with self._rt.read() as uow:
            self._rt.customer(uow, customer_id)
        return links.unsubscription(self._rt, customer_id, channel, checked_purpose(purpose), key)

    def unsubscribe_headers(self, token: str, url: str) -> Mapping[str, str]:
        """The headers of a mail that offer to unsubscribe with one click (RFC 8058).

        `url` is yours, ``https``, to which the token is appended. The mail must be
        signed by DKIM over both headers.
        """
        return links.headers(token, url)

    def unsubscribe(self, token: str, *, post: bool) -> links.Unsubscription:
        """What a request for the link of a token does: a GET tells, a POST withdraws.

        The same answer for one who was erased: then the address of the link is suppressed, if it
        names one. Raises
        `InvalidInput` for a token that is none.
        """
        meant = links.understood(self._rt, token)
        if not post:
            return links.Unsubscription(meant.channel, meant.purpose, done=False)

        def work(uow: UnitOfWork) -> None:
            fact = links.unsubscribed(uow, self._rt, meant)
            if fact is not None:
                self._rt.events.publish(uow, ConsentChanged(fact.customer_id, fact.occurred_at))

        self._rt.write(work)
        return links.Unsubscription(meant.channel, meant.purpose, done=True)

    # --- crmkit's own ---

    def standing(self, uow: UnitOfWork, customer_id: str) -> ConsentState:
        """What stands, inside a unit of work that is under way; crmkit's own."""
        return state(uow.find(Consent, customer_id=customer_id), self._rt.now())

    def withdraw_all(
        self, uow: UnitOfWork, whose: Whose, against: Sequence[Objection], at: datetime | None
    ) -> None:
        """Withdraw what is granted and was objected to; None is now, after all; crmkit's own."""
        facts = uow.find(Consent, customer_id=whose.customer_id)
        granted = [
            way
            for way, until in lasting(facts).items()
            if until is not None and any(stands_against(o, *way) for o in against)
        ]
        now = self._rt.now()
        for purpose, channel in granted:
            said = Statement(
                purpose=purpose, channel=channel, granted=False, event="withdrawn",
                source="objection",
                at=at or after_all(facts, (purpose, channel), now),
            )  # fmt: skip
            fact = said.fact(self._rt, whose)
            uow.add(fact)
            self._rt.events.publish(uow, ConsentChanged(whose.customer_id, fact.occurred_at))

    def on_stated(self, uow: UnitOfWork, event: ConsentStated) -> None:
        """Record what was said while a customer was found, unless on record; crmkit's own."""
        check_past(event.at, self._rt.now())
        for fact in uow.find(Consent, customer_id=event.customer_id):
            same = (fact.purpose, fact.channel, fact.granted, fact.address_key)
            if same == (event.purpose, event.channel, event.granted, None) and (
                fact.occurred_at == event.at
            ):
                return
        said = Statement(
            purpose=event.purpose,
            channel=event.channel,
            granted=event.granted,
            event="given" if event.granted else "withdrawn",
            source=event.source,
            at=event.at,
        )
        uow.add(said.fact(self._rt, Whose(event.customer_id, event.origin, event.customer_id)))
        self._rt.events.publish(uow, ConsentChanged(event.customer_id, event.at))

    def on_merged(self, uow: UnitOfWork, event: CustomersMerged) -> None:
        """Let what either had withdrawn stay so, until the person's next word; crmkit's own."""
        merge = event.merge
        facts = uow.find(Consent, customer_id=merge.kept_id)
        dropped = [fact for fact in facts if fact.origin in event.dropped_side]
        kept = [fact for fact in facts if fact.origin not in event.dropped_side]
        uow.add_many(parting.withdrawals(self._rt, merge, kept, dropped))

    def on_undone(self, uow: UnitOfWork, event: MergeUndone) -> None:
        """Take back what the merge had withdrawn; refusals since go for each; crmkit's own."""
        parting.on_undone(uow, self._rt, event)

    def on_erased(self, uow: UnitOfWork, event: CustomerErased) -> None:
        """Leave suppressions where the person objected or withdrew; crmkit's own."""
        objections.on_erased(uow, self._rt, event)

    # --- inside ---

    def _question(
        self, channel: str, purpose: str, address: str | None, at: datetime | str | None
    ) -> Question:
        checked_channel(channel)
        meant = checked_purpose(purpose)
        return Question(
            channel=channel,
            purpose=meant,
            purpose_key=purpose_key(self._rt, meant),
            at=None if at is None else instant(at),
            now=self._rt.now(),
            zone=self._rt.settings.zone,
            address=None if address is None else address_of(self._rt, channel, address),
        )

    def _answers(self, customer_ids: Iterable[str], asked: Question) -> Iterator[Permission]:
        for page_of_ids in pages(customer_ids):
            with self._rt.read() as uow:
                found = permissions(uow, self._rt, page_of_ids, asked)
            yield from found

    def _say(
        self,
        customer_id: str,
        said: Statement,
        at: datetime | str | None,
        key: str | None,
        *,
        fresh: bool = False,
    ) -> Consent:
        checked_id(customer_id)
        content = said.content(stated(at))
        call = Call.of(self._rt, "consents", key, f"{content}{' fresh' if fresh else ''}")

        def work(uow: UnitOfWork) -> Consent:
            customer = self._rt.customer(uow, customer_id, lock=True)
            whose = self._rt.whose(uow, customer_id, customer.id)
            told = said if at is not None else self._last(uow, customer.id, said)
            fact = told.fact(self._rt, whose)
            seen = call and call.claim(
                uow, self._rt, customer_id=customer.id, result_id=fact.id, origin=whose.origin
            )
            if seen and seen.result_id:
                return uow.get(Consent, seen.result_id) or fact
            if said.notice is not None and uow.get(Notice, said.notice) is None:
                raise InvalidInput("expected the id of a notice", field="notice")
            uow.add(fact)
            if fresh:
                objections.agreed_anew(
                    uow, self._rt, customer, said.purpose, said.channel, said.address, said.at
                )
            if said.granted is None:  # what is no word on consent is audited as what it is
                auditing.note(uow, self._rt, f"consent_{said.event}", customer_id)
            else:
                self._rt.events.publish(uow, ConsentChanged(customer.id, fact.occurred_at))
            return fact

        return self._rt.write(work)

    def _last(self, uow: UnitOfWork, customer_id: str, said: Statement) -> Statement:
        """A refusal of now after all words on record; anything else as it is."""
        if said.granted is not False:
            return said
        facts = uow.find(Consent, customer_id=customer_id)
        return attrs.evolve(said, at=after_all(facts, (said.purpose, said.channel), said.at))
