"""A past for a database: the rows that months of use leave behind, as functions of a number.

Account `a` has four lots: the daily points of the two days before, expired unused; today's; and a
pack that paid for all its jobs. Job `n` is of account `n % num_accounts` and has ended: settled,
or refunded if it is the account's every tenth. The ledger's audit has nothing to object to.
"""
