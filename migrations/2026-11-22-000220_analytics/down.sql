DROP TABLE analytics_runs, prediction_models, rfm_cut_points;
DROP INDEX order_statistics_first;
DROP INDEX consents_held;
DROP INDEX consent_entries_time;
DROP INDEX audit_entries_sign_ins;
