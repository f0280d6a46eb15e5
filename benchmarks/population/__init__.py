"""Customer records with duplicates, and the truth about them, at any size.

The sample of 100,000 records is read for what is peculiar to it: names, nicknames, cities, domains,
number ranges, placeholders, and which fields each source leaves empty. People are made from these
pools, and each is written down several times over, as guests and staff do, with the kinds and rates
of mistakes that the sample shows. Beyond the sample's size the choice of surnames grows as well.

    python -m benchmarks.population PEOPLE_100K.csv.gz N OUT.csv.gz TRUTH.csv.gz [--seed 1]
"""
