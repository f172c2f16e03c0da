-- What the job says beyond InfraBox's fields, as JSON; nothing if it says nothing of that.
ALTER TABLE jobs ADD COLUMN extensions TEXT;
-- What the job went through before its latest attempt (attempts that its retry has another one follow), as JSON.
ALTER TABLE job_status ADD COLUMN course TEXT;
