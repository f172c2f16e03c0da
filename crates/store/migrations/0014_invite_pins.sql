-- The SHA-256 of the root's public key that an invite names; nothing if it was made before that was noted.
ALTER TABLE invites ADD COLUMN pin BLOB;
