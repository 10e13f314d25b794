//! outflow moves records out of Apache Kafka into Elasticsearch and into HDFS.
