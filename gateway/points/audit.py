"""Every balance derived again from the entries, and every rule of the ledger checked.

I1  each transaction sums to zero
I2  the books of each lot are the sums of its entries
I3  no book is negative, and what was granted is all there
I4  a job that is open has a hold and no end; one that is over has one end, of the right kind
I5  a hold's points are its entries, and what was charged is what was spent
I6  what an account's lots hold is what its open jobs hold
I7  an account has one daily grant a day
I8  nobody has used a bonus code beyond its number of uses
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

from gateway.domain.points import Book


@dataclass(frozen=True)
class Breach:
    """A rule that does not hold. `detail` names the rows."""

    rule: str
    detail: str


_SUMS = ",\n        ".join(
    f"COALESCE(SUM(CASE WHEN book = '{book}' THEN amount END), 0) AS {book}" for book in Book
)

# Each query selects the rows that break its rule.
RULES = {
    "I1 a transaction does not sum to zero": """
        SELECT tx_id, SUM(amount) FROM ledger_entry GROUP BY tx_id HAVING SUM(amount) <> 0
    """,
    "I2 a lot differs from its entries": f"""
        SELECT lot.id FROM lot
        LEFT JOIN (SELECT lot_id, {_SUMS} FROM ledger_entry GROUP BY lot_id) entries
          ON entries.lot_id = lot.id
        WHERE entries.lot_id IS NULL
           OR lot.granted <> -entries.issued
           OR lot.available <> entries.available
           OR lot.held <> entries.held
           OR lot.spent <> entries.spent
           OR lot.expired <> entries.expired
           OR lot.revoked <> entries.revoked
    """,
    "I3 a lot does not add up": """
        SELECT id FROM lot
        WHERE available < 0 OR held < 0 OR spent < 0 OR expired < 0 OR revoked < 0
           OR granted <> available + held + spent + expired + revoked
    """,
    "I4 an open job lacks its hold, or its hold has ended": """
        SELECT job.id FROM job
        WHERE job.state IN ('queued', 'running')
          AND (NOT EXISTS (SELECT 1 FROM ledger_tx tx
                           WHERE tx.job_id = job.id AND tx.kind = 'hold')
               OR EXISTS (SELECT 1 FROM ledger_tx tx
                          WHERE tx.job_id = job.id AND tx.kind IN ('settle', 'refund')))
    """,
    "I4 an ended job has not exactly one end of the right kind": """
        SELECT job.id, job.state FROM job
        LEFT JOIN ledger_tx tx ON tx.job_id = job.id AND tx.kind IN ('settle', 'refund')
        WHERE job.state NOT IN ('queued', 'running')
        GROUP BY job.id, job.state
        HAVING COUNT(tx.id) <> 1
            OR MAX(tx.kind) <> CASE WHEN job.state = 'succeeded' THEN 'settle' ELSE 'refund' END
    """,
    "I5 a hold differs from its entries": """
        SELECT hold.job_id FROM hold
        WHERE hold.points <> (
            SELECT COALESCE(SUM(entry.amount), 0)
            FROM ledger_entry entry JOIN ledger_tx tx ON tx.id = entry.tx_id
            WHERE tx.job_id = hold.job_id AND tx.kind = 'hold' AND entry.book = 'held')
    """,
    "I5 a charge differs from what was spent": """
        SELECT hold.job_id FROM hold
        WHERE hold.charged IS NOT NULL AND hold.charged <> (
            SELECT COALESCE(SUM(entry.amount), 0)
            FROM ledger_entry entry JOIN ledger_tx tx ON tx.id = entry.tx_id
            WHERE tx.job_id = hold.job_id AND entry.book = 'spent')
    """,
    "I6 an account holds other points than its open jobs": """
        SELECT account.id FROM account
        WHERE (SELECT COALESCE(SUM(lot.held), 0) FROM lot
               WHERE lot.account_id = account.id AND lot.held > 0)
           <> (SELECT COALESCE(SUM(hold.points), 0)
               FROM hold JOIN job ON job.id = hold.job_id
               WHERE job.account_id = account.id AND job.state IN ('queued', 'running'))
    """,
    "I7 an account has two daily grants of one day": """
        SELECT account_id, expires_at FROM lot WHERE kind = 'daily'
        GROUP BY account_id, expires_at HAVING COUNT(*) > 1
    """,
    "I8 a bonus code was used other times than it counts": """
        SELECT code FROM bonus_code
        WHERE uses > max_uses OR uses <> (
            SELECT COUNT(*) FROM lot
            WHERE kind = 'bonus' AND grant_key LIKE 'bonus:code:' || bonus_code.code || ':%')
    """,
}


def audit(connection: Connection) -> Iterator[Breach]:
    """Every breach found; none is what should be. Reads all of the ledger."""
    for rule, query in RULES.items():
        for row in connection.execute(text(query)):
            yield Breach(rule, ", ".join(str(value) for value in row))
