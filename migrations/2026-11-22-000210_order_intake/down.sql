DROP TABLE order_fact_attempts;
DROP TABLE parked_order_facts;
