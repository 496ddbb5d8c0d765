"""What a trained model goes by: attributions, importance of columns, partial dependence, occlusion and filters."""
