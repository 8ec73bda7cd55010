"""Recordings of robots and vehicles: MCAP files and ROS bags, whose topics with images are streams of frames."""
