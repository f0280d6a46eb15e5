"""The first schema."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

from crmkit.adapters.sql.migrations import (
    audit,
    consents,
    keys,
    loyalty,
    referrals,
    retention,
    rights,
    value,
)
from crmkit.adapters.sql.migrations.columns import JSON, TEXT, index, numbers, texts

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and the database's own key."""
    _activities()
    audit.create()
    consents.create()
    _counters()
    _customers()
    _erasures()
    _horizons()
    _idempotency()
    _identities()
    keys.create()
    loyalty.create()
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
    referrals.create()
    retention.create()
    rights.create()
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
    value.create()
    kept = sa.table("crm_secrets", sa.column("name"), sa.column("value"))
    op.bulk_insert(kept, [{"name": "fingerprint", "value": secrets.token_hex(32)}])


def _activities() -> None:
    op.create_table(
        "crm_activities",
        *texts("tenant", "id"),
        sa.Column("customer_id", TEXT, nullable=True),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", TEXT, nullable=True),
        sa.Column("story", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=True),
        sa.Column("reference", TEXT, nullable=True),
        sa.Column("item", TEXT, nullable=True),
        sa.Column("venue", TEXT, nullable=True),
        sa.Column("corrects", TEXT, nullable=True),
        sa.Column("shares", JSON, nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("origin", TEXT, nullable=True),
        sa.Column("sealed", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_activities", "customer_id", "occurred_at", "id")
    index("crm_activities", "story", "id")


def _counters() -> None:
    op.create_table(
        "crm_counters",
        *texts("tenant", "customer_id", "dimension", "fingerprint", "value", "label"),
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
        *texts("tenant", "id"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("user_id", TEXT, nullable=True),
        sa.Column("external_ids", JSON, nullable=False),
        sa.Column("name", TEXT, nullable=True),
        sa.Column("first_name", TEXT, nullable=True),
        sa.Column("last_name", TEXT, nullable=True),
        sa.Column("nickname", TEXT, nullable=True),
        sa.Column("email", TEXT, nullable=True),
        sa.Column("email_typed", TEXT, nullable=True),
        sa.Column("phone", TEXT, nullable=True),
        sa.Column("phone_typed", TEXT, nullable=True),
        sa.Column("instagram", TEXT, nullable=True),
        sa.Column("instagram_typed", TEXT, nullable=True),
        sa.Column("instagram_followers", sa.BigInteger(), nullable=True),
        sa.Column("social_handles", JSON, nullable=False),
        sa.Column("gender", TEXT, nullable=True),
        sa.Column("birth_date", TEXT, nullable=True),
        sa.Column("anniversary", TEXT, nullable=True),
        sa.Column("occupation", TEXT, nullable=True),
        sa.Column("language", TEXT, nullable=True),
        sa.Column("address", TEXT, nullable=True),
        sa.Column("postal_code", TEXT, nullable=True),
        sa.Column("city", TEXT, nullable=True),
        sa.Column("country", TEXT, nullable=True),
        sa.Column("latitude_micro", sa.BigInteger(), nullable=True),
        sa.Column("longitude_micro", sa.BigInteger(), nullable=True),
        sa.Column("timezone", TEXT, nullable=True),
        sa.Column("photo_url", TEXT, nullable=True),
        sa.Column("preferred_contact", TEXT, nullable=True),
        sa.Column("communication", JSON, nullable=False),
        sa.Column("source", TEXT, nullable=True),
        sa.Column("account_created_at", sa.BigInteger(), nullable=True),
        sa.Column("preferences", JSON, nullable=False),
        sa.Column("aliases", JSON, nullable=False),
        sa.Column("custom", JSON, nullable=False),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("sealed", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )


def _erasures() -> None:
    op.create_table(
        "crm_erasures",
        *texts("tenant", "subject"),
        sa.Column("erased_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "subject"),
        sqlite_with_rowid=False,
    )


def _horizons() -> None:
    op.create_table(
        "crm_horizons",
        *texts("tenant", "id"),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
        sqlite_with_rowid=False,
    )


def _idempotency() -> None:
    op.create_table(
        "crm_idempotency",
        *texts("tenant", "fingerprint"),
        sa.Column("customer_id", TEXT, nullable=True),
        sa.Column("content", TEXT, nullable=True),
        sa.Column("result_id", TEXT, nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("origin", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "fingerprint"),
    )
    index(
        "crm_idempotency",
        "customer_id",
        sqlite_where=sa.text("customer_id IS NOT NULL"),
        postgresql_where=sa.text("customer_id IS NOT NULL"),
    )


def _identities() -> None:
    op.create_table(
        "crm_identities",
        *texts("tenant", "kind", "fingerprint", "slot", "customer_id", "value"),
        sa.Column("origin", TEXT, nullable=True),
        sa.Column("sealed", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "kind", "fingerprint", "slot"),
    )
    index("crm_identities", "customer_id")


def _match_models() -> None:
    op.create_table(
        "crm_match_models",
        *texts("tenant", "id"),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("customers", sa.BigInteger(), nullable=False),
        sa.Column("weights", JSON, nullable=False),
        sa.Column("common", JSON, nullable=False),
        sa.Column("fitted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )


def _match_pairs() -> None:
    op.create_table(
        "crm_match_pairs",
        *texts("tenant", "one_id", "other_id"),
        sa.Column("score_ppm", sa.BigInteger(), nullable=False),
        sa.Column("dismissed", sa.Boolean(), nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "one_id", "other_id"),
    )
    index("crm_match_pairs", "other_id")
    index("crm_match_pairs", "dismissed", "score_ppm")


def _match_tokens() -> None:
    op.create_table(
        "crm_match_tokens",
        *texts("tenant", "fingerprint", "customer_id"),
        sa.PrimaryKeyConstraint("tenant", "fingerprint", "customer_id"),
        sqlite_with_rowid=False,
    )
    index("crm_match_tokens", "customer_id")


def _merge_snapshots() -> None:
    op.create_table(
        "crm_merge_snapshots",
        *texts("tenant", "merge_id", "customer_id"),
        sa.Column("kept", JSON, nullable=False),
        sa.Column("dropped", JSON, nullable=False),
        sa.Column("result", JSON, nullable=False),
        sa.Column("origin", TEXT, nullable=True),
        sa.Column("sealed", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "merge_id"),
    )
    index("crm_merge_snapshots", "customer_id")


def _merges() -> None:
    op.create_table(
        "crm_merges",
        *texts("tenant", "id", "customer_id", "kept_id", "dropped_id"),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("actor", TEXT, nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("undone_at", sa.BigInteger(), nullable=True),
        sa.Column("origin", TEXT, nullable=True),
        sa.Column("sealed", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_merges", "customer_id")
    index("crm_merges", "dropped_id")


def _metrics() -> None:
    op.create_table(
        "crm_metrics",
        *texts("tenant", "customer_id"),
        *numbers(
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
        *texts("tenant", "id", "customer_id", "text", "kind"),
        sa.Column("author", TEXT, nullable=True),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("origin", TEXT, nullable=True),
        sa.Column("sealed", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_notes", "customer_id", "occurred_at")


def _occasions() -> None:
    op.create_table(
        "crm_occasions",
        *texts("tenant", "story", "fact"),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        *texts("customer_id", "kind"),
        sa.Column("happened_at", sa.BigInteger(), nullable=False),
        sa.Column("item", TEXT, nullable=True),
        sa.Column("venue", TEXT, nullable=True),
        sa.Column("category", TEXT, nullable=True),
        sa.Column("channel", TEXT, nullable=True),
        sa.Column("status", TEXT, nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("party_size", sa.BigInteger(), nullable=True),
        sa.Column("origin", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "story", "fact", "part", "since"),
    )
    index("crm_occasions", "customer_id", "kind", "happened_at")
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
        *texts("tenant", "story", "share", "customer_id"),
        sa.Column("origin", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "story", "share"),
    )
    index("crm_participations", "customer_id", "story")


def _profile_changes() -> None:
    op.create_table(
        "crm_profile_changes",
        *texts("tenant", "id", "customer_id"),
        sa.Column("changes", JSON, nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("origin", TEXT, nullable=True),
        sa.Column("sealed", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_profile_changes", "customer_id", "occurred_at")
    index("crm_profile_changes", "occurred_at", "customer_id")


def _redirects() -> None:
    op.create_table(
        "crm_redirects",
        *texts("tenant", "id", "customer_id"),
        sa.Column("origin", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_redirects", "customer_id")


def _search_tokens() -> None:
    op.create_table(
        "crm_search_tokens",
        *texts("tenant", "customer_id", "fingerprint"),
        sa.PrimaryKeyConstraint("tenant", "customer_id", "fingerprint"),
        sqlite_with_rowid=False,
    )
    index("crm_search_tokens", "fingerprint", "customer_id")


def _secrets() -> None:
    op.create_table(
        "crm_secrets",
        *texts("name", "value"),
        sa.PrimaryKeyConstraint("name"),
    )


def _segment_catalogues() -> None:
    op.create_table(
        "crm_segment_catalogues",
        *texts("tenant", "id", "mark", "basis"),
        sa.PrimaryKeyConstraint("tenant", "id"),
        sqlite_with_rowid=False,
    )


def _segment_customers() -> None:
    op.create_table(
        "crm_segment_customers",
        *texts("tenant", "segment_id", "customer_id"),
        sa.Column("kept_out", sa.Boolean(), nullable=True),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "segment_id", "customer_id"),
    )
    index("crm_segment_customers", "customer_id")


def _segment_cutoffs() -> None:
    op.create_table(
        "crm_segment_cutoffs",
        *texts("tenant", "id", "field"),
        sa.Column("value", sa.BigInteger(), nullable=True),
        *numbers("above", "reached", "population"),
        sa.PrimaryKeyConstraint("tenant", "id"),
        sqlite_with_rowid=False,
    )


def _segment_ranks() -> None:
    op.create_table(
        "crm_segment_ranks",
        *texts("tenant", "customer_id", "field"),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "customer_id", "field"),
    )
    index("crm_segment_ranks", "field", "value", "customer_id")


def _segment_states() -> None:
    op.create_table(
        "crm_segment_states",
        *texts("tenant", "segment_id", "customer_id"),
        sa.Column("member", sa.Boolean(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("next_change_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "segment_id", "customer_id"),
    )
    index("crm_segment_states", "customer_id")
    index(
        "crm_segment_states",
        "next_change_at",
        sqlite_where=sa.text("next_change_at IS NOT NULL"),
        postgresql_where=sa.text("next_change_at IS NOT NULL"),
    )


def _segment_stays() -> None:
    op.create_table(
        "crm_segment_stays",
        *texts("tenant", "segment_id", "customer_id"),
        *numbers("entered_at", "left_at", "version"),
        sa.PrimaryKeyConstraint("tenant", "segment_id", "customer_id", "entered_at"),
    )
    index("crm_segment_stays", "customer_id")
    index("crm_segment_stays", "segment_id", "left_at")


def _segment_versions() -> None:
    op.create_table(
        "crm_segment_versions",
        *texts("tenant", "segment_id"),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("rules", JSON, nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "segment_id", "version"),
    )


def _segments() -> None:
    op.create_table(
        "crm_segments",
        *texts("tenant", "id", "name"),
        sa.Column("description", TEXT, nullable=True),
        sa.Column("rules", JSON, nullable=True),
        sa.Column("auto_update", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("watched", sa.Boolean(), nullable=False),
        sa.Column("by_hand", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    index("crm_segments", "name", unique=True)


def _tags() -> None:
    op.create_table(
        "crm_tags",
        *texts("tenant", "customer_id", "fingerprint", "tag"),
        sa.Column("tagged_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "customer_id", "fingerprint"),
        sqlite_with_rowid=False,
    )
