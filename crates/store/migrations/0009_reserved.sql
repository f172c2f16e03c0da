-- Nothing: the number is taken by another change of the same time.
SELECT 1;
