"""The first schema."""

from __future__ import annotations

import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_JSON = sa.Text().with_variant(JSONB(), "postgresql")


def _texts(*names: str) -> tuple[sa.Column[str], ...]:
    return tuple(sa.Column(name, _TEXT, nullable=False) for name in names)


def _numbers(*names: str) -> tuple[sa.Column[int], ...]:
    return tuple(sa.Column(name, sa.BigInteger(), nullable=False) for name in names)


def _index(table: str, *fields: str, **options: Any) -> None:
    op.create_index("_".join(["ix", table, *fields]), table, ["tenant", *fields], **options)


def upgrade() -> None:
    """Create the tables, and the database's own key."""
    _activities()
    _consents()
    _counters()
    _customers()
    _erasures()
    _horizons()
    _idempotency()
    _identities()
    _loyalty_accounts()
    _loyalty_entries()
    _match_models()
    _match_pairs()
    _match_tokens()
    _merge_snapshots()
    _merges()
    _metrics()
    _notes()
    _occasions()
    _participations()
    _profile_changes()
    _redirects()
    _search_tokens()
    _secrets()
    _segment_catalogues()
    _segment_customers()
    _segment_cutoffs()
    _segment_ranks()
    _segment_states()
    _segment_stays()
    _segment_versions()
    _segments()
    _tags()
    _value_models()
    _value_scores()
    kept = sa.table("crm_secrets", sa.column("name"), sa.column("value"))
    op.bulk_insert(kept, [{"name": "fingerprint", "value": secrets.token_hex(32)}])


def _activities() -> None:
    op.create_table(
        "crm_activities",
        *_texts("tenant", "id"),
        sa.Column("customer_id", _TEXT, nullable=True),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", _TEXT, nullable=True),
        sa.Column("story", _TEXT, nullable=False),
        sa.Column("status", _TEXT, nullable=True),
        sa.Column("reference", _TEXT, nullable=True),
        sa.Column("item", _TEXT, nullable=True),
        sa.Column("venue", _TEXT, nullable=True),
        sa.Column("corrects", _TEXT, nullable=True),
        sa.Column("shares", _JSON, nullable=False),
        sa.Column("payload", _JSON, nullable=False),
        sa.Column("origin", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    _index("crm_activities", "customer_id", "occurred_at", "id")
    _index("crm_activities", "story", "id")


def _consents() -> None:
    op.create_table(
        "crm_consents",
        *_texts("tenant", "id", "customer_id", "purpose", "channel"),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("origin", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    _index("crm_consents", "customer_id", "occurred_at")


def _counters() -> None:
    op.create_table(
        "crm_counters",
        *_texts("tenant", "customer_id", "dimension", "fingerprint", "value", "label"),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("spend_minor", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=True),
        sa.Column("last_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "customer_id", "dimension", "fingerprint"),
        sqlite_with_rowid=False,
    )


def _customers() -> None:
    op.create_table(
        "crm_customers",
        *_texts("tenant", "id"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("user_id", _TEXT, nullable=True),
        sa.Column("external_ids", _JSON, nullable=False),
        sa.Column("name", _TEXT, nullable=True),
        sa.Column("first_name", _TEXT, nullable=True),
        sa.Column("last_name", _TEXT, nullable=True),
        sa.Column("nickname", _TEXT, nullable=True),
        sa.Column("email", _TEXT, nullable=True),
        sa.Column("email_typed", _TEXT, nullable=True),
        sa.Column("phone", _TEXT, nullable=True),
        sa.Column("phone_typed", _TEXT, nullable=True),
        sa.Column("instagram", _TEXT, nullable=True),
        sa.Column("instagram_typed", _TEXT, nullable=True),
        sa.Column("instagram_followers", sa.BigInteger(), nullable=True),
        sa.Column("social_handles", _JSON, nullable=False),
        sa.Column("gender", _TEXT, nullable=True),
        sa.Column("birth_date", _TEXT, nullable=True),
        sa.Column("anniversary", _TEXT, nullable=True),
        sa.Column("occupation", _TEXT, nullable=True),
        sa.Column("language", _TEXT, nullable=True),
        sa.Column("address", _TEXT, nullable=True),
        sa.Column("postal_code", _TEXT, nullable=True),
        sa.Column("city", _TEXT, nullable=True),
        sa.Column("country", _TEXT, nullable=True),
        sa.Column("latitude_micro", sa.BigInteger(), nullable=True),
        sa.Column("longitude_micro", sa.BigInteger(), nullable=True),
        sa.Column("timezone", _TEXT, nullable=True),
        sa.Column("photo_url", _TEXT, nullable=True),
        sa.Column("preferred_contact", _TEXT, nullable=True),
        sa.Column("communication", _JSON, nullable=False),
        sa.Column("source", _TEXT, nullable=True),
        sa.Column("account_created_at", sa.BigInteger(), nullable=True),
        sa.Column("preferences", _JSON, nullable=False),
        sa.Column("aliases", _JSON, nullable=False),
        sa.Column("custom", _JSON, nullable=False),
        sa.Column("metadata", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )


def _erasures() -> None:
    op.create_table(
        "crm_erasures",
        *_texts("tenant", "subject"),
        sa.Column("erased_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "subject"),
        sqlite_with_rowid=False,
    )


def _horizons() -> None:
    op.create_table(
        "crm_horizons",
        *_texts("tenant", "id"),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
        sqlite_with_rowid=False,
    )


def _idempotency() -> None:
    op.create_table(
        "crm_idempotency",
        *_texts("tenant", "fingerprint"),
        sa.Column("customer_id", _TEXT, nullable=True),
        sa.Column("content", _TEXT, nullable=True),
        sa.Column("result_id", _TEXT, nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("origin", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "fingerprint"),
    )
    _index(
        "crm_idempotency",
        "customer_id",
        sqlite_where=sa.text("customer_id IS NOT NULL"),
        postgresql_where=sa.text("customer_id IS NOT NULL"),
    )


def _identities() -> None:
    op.create_table(
        "crm_identities",
        *_texts("tenant", "kind", "fingerprint", "slot", "customer_id"),
        sa.Column("origin", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "kind", "fingerprint", "slot"),
    )
    _index("crm_identities", "customer_id")


def _loyalty_accounts() -> None:
    op.create_table(
        "crm_loyalty_accounts",
        *_texts("tenant", "customer_id"),
        sa.Column("balance", sa.BigInteger(), nullable=False),
        sa.Column("qualifying", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "customer_id"),
        sqlite_with_rowid=False,
    )


def _loyalty_entries() -> None:
    op.create_table(
        "crm_loyalty_entries",
        *_texts("tenant", "id"),
        sa.Column("customer_id", _TEXT, nullable=True),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("qualifying", sa.BigInteger(), nullable=False),
        sa.Column("story", _TEXT, nullable=True),
        sa.Column("reason", _TEXT, nullable=True),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("origin", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    _index("crm_loyalty_entries", "customer_id", "occurred_at")
    _index("crm_loyalty_entries", "occurred_at", "customer_id")
    _index("crm_loyalty_entries", "story")


def _match_models() -> None:
    op.create_table(
        "crm_match_models",
        *_texts("tenant", "id"),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("customers", sa.BigInteger(), nullable=False),
        sa.Column("weights", _JSON, nullable=False),
        sa.Column("common", _JSON, nullable=False),
        sa.Column("fitted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )


def _match_pairs() -> None:
    op.create_table(
        "crm_match_pairs",
        *_texts("tenant", "one_id", "other_id"),
        sa.Column("score_ppm", sa.BigInteger(), nullable=False),
        sa.Column("dismissed", sa.Boolean(), nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "one_id", "other_id"),
    )
    _index("crm_match_pairs", "other_id")
    _index("crm_match_pairs", "dismissed", "score_ppm")


def _match_tokens() -> None:
    op.create_table(
        "crm_match_tokens",
        *_texts("tenant", "fingerprint", "customer_id"),
        sa.PrimaryKeyConstraint("tenant", "fingerprint", "customer_id"),
        sqlite_with_rowid=False,
    )
    _index("crm_match_tokens", "customer_id")


def _merge_snapshots() -> None:
    op.create_table(
        "crm_merge_snapshots",
        *_texts("tenant", "merge_id", "customer_id"),
        sa.Column("kept", _JSON, nullable=False),
        sa.Column("dropped", _JSON, nullable=False),
        sa.Column("result", _JSON, nullable=False),
        sa.Column("origin", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "merge_id"),
    )
    _index("crm_merge_snapshots", "customer_id")


def _merges() -> None:
    op.create_table(
        "crm_merges",
        *_texts("tenant", "id", "customer_id", "kept_id", "dropped_id"),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("actor", _TEXT, nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("undone_at", sa.BigInteger(), nullable=True),
        sa.Column("origin", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    _index("crm_merges", "customer_id")
    _index("crm_merges", "dropped_id")


def _metrics() -> None:
    op.create_table(
        "crm_metrics",
        *_texts("tenant", "customer_id"),
        *_numbers(
            "activities",
            "bookings",
            "completed_bookings",
            "orders",
            "visits",
            "events_attended",
            "cancellations",
            "no_shows",
            "refunds",
            "reviews",
            "referrals",
            "feedbacks",
            "support_requests",
            "messages_delivered",
            "messages_opened",
            "messages_clicked",
            "parties",
            "guests",
            "spend_minor",
        ),
        sa.Column("first_booking_at", sa.BigInteger(), nullable=True),
        sa.Column("last_booking_at", sa.BigInteger(), nullable=True),
        sa.Column("first_order_at", sa.BigInteger(), nullable=True),
        sa.Column("last_order_at", sa.BigInteger(), nullable=True),
        sa.Column("first_visit_at", sa.BigInteger(), nullable=True),
        sa.Column("last_visit_at", sa.BigInteger(), nullable=True),
        sa.Column("first_activity_at", sa.BigInteger(), nullable=True),
        sa.Column("last_activity_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "customer_id"),
        sqlite_with_rowid=False,
    )


def _notes() -> None:
    op.create_table(
        "crm_notes",
        *_texts("tenant", "id", "customer_id", "text", "kind"),
        sa.Column("author", _TEXT, nullable=True),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("origin", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    _index("crm_notes", "customer_id", "occurred_at")


def _occasions() -> None:
    op.create_table(
        "crm_occasions",
        *_texts("tenant", "story", "fact"),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        *_texts("customer_id", "kind"),
        sa.Column("happened_at", sa.BigInteger(), nullable=False),
        sa.Column("item", _TEXT, nullable=True),
        sa.Column("venue", _TEXT, nullable=True),
        sa.Column("category", _TEXT, nullable=True),
        sa.Column("channel", _TEXT, nullable=True),
        sa.Column("status", _TEXT, nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("party_size", sa.BigInteger(), nullable=True),
        sa.Column("origin", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "story", "fact", "part", "since"),
    )
    _index("crm_occasions", "customer_id", "kind", "happened_at")
    op.create_index(
        "ix_crm_occasions_kind_happened_at_customer_id_item_venue_part",
        "crm_occasions",
        [
            "tenant",
            "kind",
            "happened_at",
            "customer_id",
            "item",
            "venue",
            "part",
            "since",
            "until",
        ],
    )


def _participations() -> None:
    op.create_table(
        "crm_participations",
        *_texts("tenant", "story", "share", "customer_id"),
        sa.Column("origin", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "story", "share"),
    )
    _index("crm_participations", "customer_id", "story")


def _profile_changes() -> None:
    op.create_table(
        "crm_profile_changes",
        *_texts("tenant", "id", "customer_id"),
        sa.Column("changes", _JSON, nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("origin", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    _index("crm_profile_changes", "customer_id", "occurred_at")
    _index("crm_profile_changes", "occurred_at", "customer_id")


def _redirects() -> None:
    op.create_table(
        "crm_redirects",
        *_texts("tenant", "id", "customer_id"),
        sa.Column("origin", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    _index("crm_redirects", "customer_id")


def _search_tokens() -> None:
    op.create_table(
        "crm_search_tokens",
        *_texts("tenant", "customer_id", "fingerprint"),
        sa.PrimaryKeyConstraint("tenant", "customer_id", "fingerprint"),
        sqlite_with_rowid=False,
    )
    _index("crm_search_tokens", "fingerprint", "customer_id")


def _secrets() -> None:
    op.create_table(
        "crm_secrets",
        *_texts("name", "value"),
        sa.PrimaryKeyConstraint("name"),
    )


def _segment_catalogues() -> None:
    op.create_table(
        "crm_segment_catalogues",
        *_texts("tenant", "id", "mark", "basis"),
        sa.PrimaryKeyConstraint("tenant", "id"),
        sqlite_with_rowid=False,
    )


def _segment_customers() -> None:
    op.create_table(
        "crm_segment_customers",
        *_texts("tenant", "segment_id", "customer_id"),
        sa.Column("kept_out", sa.Boolean(), nullable=True),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "segment_id", "customer_id"),
    )
    _index("crm_segment_customers", "customer_id")


def _segment_cutoffs() -> None:
    op.create_table(
        "crm_segment_cutoffs",
        *_texts("tenant", "id", "field"),
        sa.Column("value", sa.BigInteger(), nullable=True),
        *_numbers("above", "reached", "population"),
        sa.PrimaryKeyConstraint("tenant", "id"),
        sqlite_with_rowid=False,
    )


def _segment_ranks() -> None:
    op.create_table(
        "crm_segment_ranks",
        *_texts("tenant", "customer_id", "field"),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "customer_id", "field"),
    )
    _index("crm_segment_ranks", "field", "value", "customer_id")


def _segment_states() -> None:
    op.create_table(
        "crm_segment_states",
        *_texts("tenant", "segment_id", "customer_id"),
        sa.Column("member", sa.Boolean(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("next_change_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "segment_id", "customer_id"),
    )
    _index("crm_segment_states", "customer_id")
    _index(
        "crm_segment_states",
        "next_change_at",
        sqlite_where=sa.text("next_change_at IS NOT NULL"),
        postgresql_where=sa.text("next_change_at IS NOT NULL"),
    )


def _segment_stays() -> None:
    op.create_table(
        "crm_segment_stays",
        *_texts("tenant", "segment_id", "customer_id"),
        *_numbers("entered_at", "left_at", "version"),
        sa.PrimaryKeyConstraint("tenant", "segment_id", "customer_id", "entered_at"),
    )
    _index("crm_segment_stays", "customer_id")
    _index("crm_segment_stays", "segment_id", "left_at")


def _segment_versions() -> None:
    op.create_table(
        "crm_segment_versions",
        *_texts("tenant", "segment_id"),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("rules", _JSON, nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "segment_id", "version"),
    )


def _segments() -> None:
    op.create_table(
        "crm_segments",
        *_texts("tenant", "id", "name"),
        sa.Column("description", _TEXT, nullable=True),
        sa.Column("rules", _JSON, nullable=True),
        sa.Column("auto_update", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("watched", sa.Boolean(), nullable=False),
        sa.Column("by_hand", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    _index("crm_segments", "name", unique=True)


def _tags() -> None:
    op.create_table(
        "crm_tags",
        *_texts("tenant", "customer_id", "fingerprint", "tag"),
        sa.Column("tagged_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "customer_id", "fingerprint"),
        sqlite_with_rowid=False,
    )


def _value_models() -> None:
    op.create_table(
        "crm_value_models",
        *_texts("tenant"),
        *_numbers("version", "at", "fitted_at"),
        *_texts("kind"),
        sa.Column("prior", _TEXT, nullable=True),
        *_numbers("time_unit_days", "customers", "repeating"),
        sa.Column("frequency", _JSON, nullable=True),
        sa.Column("spend", _JSON, nullable=True),
        sa.Column("hiatus", _JSON, nullable=False),
        sa.Column("quality", _JSON, nullable=False),
        sa.Column("reason", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "version"),
    )
    _index("crm_value_models", "at", "version")


def _value_scores() -> None:
    op.create_table(
        "crm_value_scores",
        *_texts("tenant", "customer_id"),
        *_numbers("lifetime_minor"),
        sa.Column("predicted_minor", sa.BigInteger(), nullable=True),
        sa.Column("active_ppm", sa.BigInteger(), nullable=True),
        sa.Column("churn_band", _TEXT, nullable=True),
        sa.Column("rfm_group", _TEXT, nullable=True),
        *_numbers("engagement", "refreshed_at"),
        sa.PrimaryKeyConstraint("tenant", "customer_id"),
        sqlite_with_rowid=False,
    )
