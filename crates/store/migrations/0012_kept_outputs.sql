-- For how many days after the end of its build a job's output is kept, if its file says so. Indexes of arrays have what the array says.
ALTER TABLE jobs ADD COLUMN output_keep_days INTEGER;
