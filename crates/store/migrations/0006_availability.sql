-- Which jobs a cluster takes, as an administrator has said: `open`, `cordoned`, `draining` or `disabled`.
ALTER TABLE clusters ADD COLUMN availability TEXT NOT NULL DEFAULT 'open';
