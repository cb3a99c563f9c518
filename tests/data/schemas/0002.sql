BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE arrivals (
	id INTEGER NOT NULL, 
	last_seq BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "arrivals" VALUES(1,6);
CREATE TABLE learned (
	name VARCHAR(160) NOT NULL, 
	value TEXT NOT NULL, 
	updated_at VARCHAR(40) NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE samples (
	at DOUBLE NOT NULL, 
	span_seconds DOUBLE NOT NULL, 
	data TEXT NOT NULL, 
	PRIMARY KEY (at)
);
CREATE TABLE system_events (
	id INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	data TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE task_events (
	id INTEGER NOT NULL, 
	task_id VARCHAR(64) NOT NULL, 
	at VARCHAR(40) NOT NULL, 
	code VARCHAR(32) NOT NULL, 
	data TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);
CREATE TABLE task_texts (
	task_id VARCHAR(64) NOT NULL, 
	folded_text TEXT NOT NULL, 
	PRIMARY KEY (task_id), 
	FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);
INSERT INTO "task_texts" VALUES('pending','pending.mp3');
INSERT INTO "task_texts" VALUES('processing','processing.mp3');
INSERT INTO "task_texts" VALUES('completed','completed.mp3');
INSERT INTO "task_texts" VALUES('failed','failed.mp3');
INSERT INTO "task_texts" VALUES('retrying','retrying.mp3');
INSERT INTO "task_texts" VALUES('cancelled','cancelled.mp3');
CREATE TABLE tasks (
	id VARCHAR(64) NOT NULL, 
	seq BIGINT NOT NULL, 
	version BIGINT NOT NULL, 
	filename TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	options TEXT NOT NULL, 
	model VARCHAR(64) NOT NULL, 
	priority INTEGER NOT NULL, 
	requested_device VARCHAR(32) NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	created_at VARCHAR(40) NOT NULL, 
	max_attempts INTEGER NOT NULL, 
	language VARCHAR(16), 
	audio_seconds DOUBLE, 
	progress DOUBLE NOT NULL, 
	attempt INTEGER NOT NULL, 
	interrupts INTEGER NOT NULL, 
	uncharged INTEGER NOT NULL, 
	device VARCHAR(32), 
	lease_token VARCHAR(64), 
	lease_owner VARCHAR(64), 
	not_before VARCHAR(40), 
	windows_done INTEGER NOT NULL, 
	estimated_bytes BIGINT, 
	peak_bytes BIGINT, 
	errors TEXT NOT NULL, 
	started_at VARCHAR(40), 
	finished_at VARCHAR(40), 
	result_sha256 VARCHAR(64), 
	idempotency_key TEXT, owner VARCHAR(64) DEFAULT '' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_tasks_seq UNIQUE (seq), 
	CONSTRAINT uq_tasks_idempotency_key UNIQUE (idempotency_key)
);
INSERT INTO "tasks" VALUES('pending',1,3,'pending.mp3','pending','{"language": "en", "task": "transcribe", "temperature": null, "word_timestamps": false, "initial_prompt": null, "model": "base"}','base',1,'auto',5,'0000000000000000000000000000000000000000000000000000000000000000','2026-11-01T12:00:00.000000+00:00',4,'en',120.0,0.25,1,0,0,NULL,NULL,NULL,NULL,1,NULL,NULL,'[]',NULL,NULL,NULL,'key of pending','');
INSERT INTO "tasks" VALUES('processing',2,3,'processing.mp3','processing','{"language": "en", "task": "transcribe", "temperature": null, "word_timestamps": false, "initial_prompt": null, "model": "base"}','base',1,'auto',5,'0000000000000000000000000000000000000000000000000000000000000000','2026-11-02T12:00:00.000000+00:00',4,'en',120.0,0.25,1,0,0,NULL,'lease',NULL,NULL,1,NULL,NULL,'[]',NULL,NULL,NULL,'key of processing','');
INSERT INTO "tasks" VALUES('completed',3,3,'completed.mp3','completed','{"language": "en", "task": "transcribe", "temperature": null, "word_timestamps": false, "initial_prompt": null, "model": "base"}','base',1,'auto',5,'0000000000000000000000000000000000000000000000000000000000000000','2026-11-03T12:00:00.000000+00:00',4,'en',120.0,0.25,1,0,0,NULL,NULL,NULL,NULL,1,NULL,NULL,'[]',NULL,NULL,NULL,'key of completed','');
INSERT INTO "tasks" VALUES('failed',4,3,'failed.mp3','failed','{"language": "en", "task": "transcribe", "temperature": null, "word_timestamps": false, "initial_prompt": null, "model": "base"}','base',1,'auto',5,'0000000000000000000000000000000000000000000000000000000000000000','2026-11-04T12:00:00.000000+00:00',4,'en',120.0,0.25,1,0,0,NULL,NULL,NULL,NULL,1,NULL,NULL,'[]',NULL,NULL,NULL,'key of failed','');
INSERT INTO "tasks" VALUES('retrying',5,3,'retrying.mp3','retrying','{"language": "en", "task": "transcribe", "temperature": null, "word_timestamps": false, "initial_prompt": null, "model": "base"}','base',1,'auto',5,'0000000000000000000000000000000000000000000000000000000000000000','2026-11-05T12:00:00.000000+00:00',4,'en',120.0,0.25,1,0,0,NULL,NULL,NULL,NULL,1,NULL,NULL,'[]',NULL,NULL,NULL,'key of retrying','');
INSERT INTO "tasks" VALUES('cancelled',6,3,'cancelled.mp3','cancelled','{"language": "en", "task": "transcribe", "temperature": null, "word_timestamps": false, "initial_prompt": null, "model": "base"}','base',1,'auto',5,'0000000000000000000000000000000000000000000000000000000000000000','2026-11-06T12:00:00.000000+00:00',4,'en',120.0,0.25,1,0,0,NULL,NULL,NULL,NULL,1,NULL,NULL,'[]',NULL,NULL,NULL,'key of cancelled','');
CREATE TABLE windows (
	task_id VARCHAR(64) NOT NULL, 
	window_index INTEGER NOT NULL, 
	segments TEXT NOT NULL, 
	checkpoint TEXT NOT NULL, 
	CONSTRAINT pk_windows PRIMARY KEY (task_id, window_index), 
	FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
);
INSERT INTO "windows" VALUES('processing',0,'[{"id": 0, "seek": 0, "start": 0.0, "end": 2.5, "text": " Hello.", "tokens": [50364, 2425, 13], "temperature": 0.0, "avg_logprob": -0.25, "compression_ratio": 1.1, "no_speech_prob": 0.01, "words": null}]','{"language": "en", "seek": 3000, "content_frames": 12000}');
CREATE INDEX ix_tasks_status_seq ON tasks (status, seq);
CREATE INDEX ix_tasks_model_seq ON tasks (model, seq);
CREATE INDEX ix_task_events_task ON task_events (task_id, id);
CREATE INDEX ix_system_events_at ON system_events (at);
COMMIT;
